"""`seelevel view`: ladders in the browser. A server for this machine alone; nothing comes from the network."""
