"""`python -m pollice`, which launchers of several processes start.

Knows nothing about any command.
"""

from pollice.cli import main

main()
