"""The debugger: events, stepping, and the questions to ask of them."""
