"""The gateway: telemetry in, decisions out, and a page that shows what is going on."""
