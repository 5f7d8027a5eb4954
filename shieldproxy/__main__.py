"""``python -m shieldproxy`` is the command ``shieldproxy``."""

from shieldproxy.cli import main

if __name__ == "__main__":
    main(prog_name="shieldproxy")
