package rewarden

import "structs"

type rawSample struct {
	_                structs.HostLayout
	id               text
	group            text
	dataSource       text
	prompt           list
	completion       list
	groundTruth      text
	extra            text
	stopReason       uint8
	turnScores       list
	completionTokens uint32
	step             uint32
}

func liftSample(raw *rawSample) *Sample {
	return &Sample{
		ID:               raw.id.lift(),
		Group:            raw.group.lift(),
		DataSource:       raw.dataSource.lift(),
		Prompt:           liftList(raw.prompt, liftMessage),
		Completion:       liftList(raw.completion, liftMessage),
		GroundTruth:      raw.groundTruth.lift(),
		Extra:            raw.extra.lift(),
		StopReason:       StopReason(raw.stopReason),
		TurnScores:       elements[float64](raw.turnScores),
		CompletionTokens: raw.completionTokens,
		Step:             raw.step,
	}
}

type rawScore struct {
	_          structs.HostLayout
	hasValue   uint8
	value      float64
	steps      list
	components list
	metrics    list
	note       text
}

func lowerScore(score Score) rawScore {
	value, has := score.Value()
	return rawScore{
		hasValue:   flag(has),
		value:      value,
		steps:      slice(score.Steps),
		components: lowerList(score.Components, lowerMetric),
		metrics:    lowerList(score.Metrics, lowerMetric),
		note:       lower(cut(score.Note)),
	}
}
