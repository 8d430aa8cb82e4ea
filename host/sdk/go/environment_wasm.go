package rewarden

import (
	"structs"
	"unsafe"
)

//go:wasmexport rewarden:plugin/environment@0.1.0#start
func startExport(id, idLength, source, sourceLength, prompt, promptLength, truth, truthLength, extra, extraLength,
	seed uint32) unsafe.Pointer {
	task := &Task{
		ID:          text{at: id, length: idLength}.lift(),
		DataSource:  text{at: source, length: sourceLength}.lift(),
		Prompt:      liftList(list{at: prompt, length: promptLength}, liftMessage),
		GroundTruth: text{at: truth, length: truthLength}.lift(),
		Extra:       text{at: extra, length: extraLength}.lift(),
	}
	lifted()
	shown, err := started(task, seed)
	if err != nil {
		return answer(rawResult{isFault: 1, fault: lowerFault(err)})
	}
	return answer(rawListResult{list: lowerList(shown, lowerMessage)})
}

//go:wasmexport cabi_post_rewarden:plugin/environment@0.1.0#start
func startRead(unsafe.Pointer) { read() }

type rawTransition struct {
	_           structs.HostLayout
	observation list
	reward      float64
	done        uint8
	metrics     list
}

// rawStepped is `result<transition, fault>`. A fault takes the place of the transition, and fits into it.
type rawStepped struct {
	_          structs.HostLayout
	isFault    uint8
	transition rawTransition
}

//go:wasmexport rewarden:plugin/environment@0.1.0#step
func stepExport(role, content, contentLength, hasName, name, nameLength, calls, callsLength, hasCallID, callID,
	callIDLength uint32) unsafe.Pointer {
	action := liftMessage(&rawMessage{
		role:          uint8(role),
		content:       text{at: content, length: contentLength},
		hasName:       uint8(hasName),
		name:          text{at: name, length: nameLength},
		toolCalls:     list{at: calls, length: callsLength},
		hasToolCallID: uint8(hasCallID),
		toolCallID:    text{at: callID, length: callIDLength},
	})
	lifted()
	next, err := stepped(&action)
	if err != nil {
		raw := rawStepped{isFault: 1}
		*(*rawFault)(unsafe.Pointer(&raw.transition)) = lowerFault(err)
		return answer(raw)
	}
	return answer(rawStepped{transition: rawTransition{
		observation: lowerList(next.Observation, lowerMessage),
		reward:      next.Reward,
		done:        flag(next.Done),
		metrics:     lowerList(next.Metrics, lowerMetric),
	}})
}

//go:wasmexport cabi_post_rewarden:plugin/environment@0.1.0#step
func stepRead(unsafe.Pointer) { read() }

//go:wasmexport rewarden:plugin/environment@0.1.0#finish
func finishExport() unsafe.Pointer {
	if episode == nil {
		return answer(list{})
	}
	return answer(lowerList(episode.Finish(), lowerMetric))
}

//go:wasmexport cabi_post_rewarden:plugin/environment@0.1.0#finish
func finishRead(unsafe.Pointer) { read() }
