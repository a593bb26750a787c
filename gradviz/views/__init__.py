"""Views: a Frame or a Run as text, picture or file."""
