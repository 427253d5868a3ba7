"""`python -m tidewater`: the server, in place of this process."""

from . import main

main()
