"""``python -m diffeval``."""

from diffeval.cli import main

if __name__ == "__main__":
    main()
