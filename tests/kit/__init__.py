"""What the tests share: scripted peers, free ports, checks of the house."""
