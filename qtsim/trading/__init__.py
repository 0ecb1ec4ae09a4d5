"""The mode-neutral shell: broker protocol, messages, session, journal."""
