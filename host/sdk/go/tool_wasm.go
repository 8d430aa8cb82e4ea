package rewarden

import (
	"structs"
	"unsafe"
)

type rawToolSpec struct {
	_           structs.HostLayout
	name        text
	description text
	parameters  text
}

//go:wasmexport rewarden:plugin/tool@0.1.0#list-tools
func listTools() unsafe.Pointer {
	return answer(lowerList(functions, func(function ToolFunction) rawToolSpec {
		return rawToolSpec{
			name:        lower(function.name),
			description: lower(function.description),
			parameters:  lower(function.parameters),
		}
	}))
}

//go:wasmexport cabi_post_rewarden:plugin/tool@0.1.0#list-tools
func listToolsRead(unsafe.Pointer) { read() }

type rawOutput struct {
	_       structs.HostLayout
	content text
	reward  float64
	metrics list
}

// rawCalled is `result<output, fault>`. A fault takes the place of the output, and fits into it.
type rawCalled struct {
	_       structs.HostLayout
	isFault uint8
	output  rawOutput
}

//go:wasmexport rewarden:plugin/tool@0.1.0#call
func callExport(id, idLength, name, nameLength, arguments, argumentsLength uint32) unsafe.Pointer {
	call := liftToolCall(&rawToolCall{
		id:        text{at: id, length: idLength},
		name:      text{at: name, length: nameLength},
		arguments: text{at: arguments, length: argumentsLength},
	})
	lifted()
	output, err := called(&call)
	if err != nil {
		raw := rawCalled{isFault: 1}
		*(*rawFault)(unsafe.Pointer(&raw.output)) = lowerFault(err)
		return answer(raw)
	}
	return answer(rawCalled{output: rawOutput{
		content: lower(output.Content),
		reward:  output.Reward,
		metrics: lowerList(output.Metrics, lowerMetric),
	}})
}

//go:wasmexport cabi_post_rewarden:plugin/tool@0.1.0#call
func callRead(unsafe.Pointer) { read() }
