"""`python -m yosegi` is `yosegi`."""

from yosegi.commands import main

main()
