"""`python -m tests.faults`: see README.md."""

from tests.faults.runner import main

if __name__ == "__main__":
    main()
