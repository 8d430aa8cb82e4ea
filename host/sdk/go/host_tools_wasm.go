package rewarden

import "unsafe"

//go:wasmimport rewarden:plugin/host-tools@0.1.0 call
func importCall(id, name, arguments string, result unsafe.Pointer)

func hostCall(call ToolCall) (string, error) {
	result := new(rawListResult)
	importCall(call.ID, call.Name, call.Arguments, unsafe.Pointer(result))
	if err := result.err(); err != nil {
		return "", err
	}
	content := result.list.lift()
	lifted()
	return content, nil
}
