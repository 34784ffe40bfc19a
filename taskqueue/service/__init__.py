"""The running broker: owns clock, timers and store; performs what the core decided."""
