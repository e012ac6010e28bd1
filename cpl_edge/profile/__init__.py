"""Where the time goes: profiles of every runtime, and of files made on devices, as one table."""
