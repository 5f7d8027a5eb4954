"""The story of an exchange: phases, lanes, relay, admission. Imports net and core."""
