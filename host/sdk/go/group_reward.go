package rewarden

// judgeGroup scores a group; set by configure.
var judgeGroup func([]*Sample) ([]Score, error)

// GroupReward registers the plugin: score judges the samples of one group together and returns one score for each, in
// their order. Call it once, in init. Settings and defaults are as for a reward: any struct that encoding/json reads.
func GroupReward[Settings any](score func([]*Sample, *Settings) ([]Score, error), defaults ...Settings) {
	configure = func(text string) error {
		settings, err := settingsFrom(text, defaults)
		if err == nil {
			judgeGroup = func(group []*Sample) ([]Score, error) { return score(group, settings) }
		}
		return err
	}
}

// judgedGroup is the group's scores, all of them with a value or without one on purpose.
func judgedGroup(group []*Sample) (scores []Score, err error) {
	err = guard(func() (err error) {
		if judgeGroup == nil {
			return notConfigured()
		}
		if scores, err = judgeGroup(group); err == nil {
			err = checkAll(scores, len(group))
		}
		return err
	})
	return scores, err
}

func checkAll(scores []Score, samples int) error {
	if len(scores) != samples {
		return Internal("%d scores for a group of %d samples", len(scores), samples)
	}
	for _, score := range scores {
		if err := score.check(); err != nil {
			return err
		}
	}
	return nil
}
