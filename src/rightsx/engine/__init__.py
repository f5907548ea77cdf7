"""The rules of the market compiled: the same market as `reference`, event for event, at full speed."""
