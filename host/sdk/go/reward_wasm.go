package rewarden

import (
	"structs"
	"unsafe"
)

// rawJudgement is `result<score, fault>`. A fault takes the place of the score, and fits into it.
type rawJudgement struct {
	_       structs.HostLayout
	isFault uint8
	score   rawScore
}

func lowerJudgement(score Score, err error) rawJudgement {
	if err == nil {
		return rawJudgement{score: lowerScore(score)}
	}
	judgement := rawJudgement{isFault: 1}
	*(*rawFault)(unsafe.Pointer(&judgement.score)) = lowerFault(err)
	return judgement
}

//go:wasmexport rewarden:plugin/reward@0.1.0#score-batch
func scoreBatch(samples, length uint32) unsafe.Pointer {
	batch := liftList(list{at: samples, length: length}, liftSample)
	lifted()
	judgements := make([]rawJudgement, len(batch))
	for i, sample := range batch {
		judgements[i] = lowerJudgement(judged(sample))
	}
	return answer(slice(judgements))
}

//go:wasmexport cabi_post_rewarden:plugin/reward@0.1.0#score-batch
func scoreBatchRead(unsafe.Pointer) { read() }
