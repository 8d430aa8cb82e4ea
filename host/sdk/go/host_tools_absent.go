//go:build !wasm

package rewarden

func hostCall(ToolCall) (string, error) {
	return "", Unavailable("add \"host-tools\" to `capabilities` in plugin.toml")
}
