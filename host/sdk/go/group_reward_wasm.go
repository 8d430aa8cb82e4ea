package rewarden

import "unsafe"

//go:wasmexport rewarden:plugin/group-reward@0.1.0#score-group
func scoreGroup(samples, length uint32) unsafe.Pointer {
	group := liftList(list{at: samples, length: length}, liftSample)
	lifted()
	scores, err := judgedGroup(group)
	if err != nil {
		return answer(rawResult{isFault: 1, fault: lowerFault(err)})
	}
	return answer(rawListResult{list: lowerList(scores, lowerScore)})
}

//go:wasmexport cabi_post_rewarden:plugin/group-reward@0.1.0#score-group
func scoreGroupRead(unsafe.Pointer) { read() }
