package rewarden

// CallTool runs one call of a tool that the run has granted, and returns what the policy would see. It needs the
// capability "host-tools" in plugin.toml.
func CallTool(call ToolCall) (string, error) { return hostCall(call) }
