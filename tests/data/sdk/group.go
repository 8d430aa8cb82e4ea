// A group reward: the length of each answer, and ten times its place.
package main

import "rewarden"

func score(group []*rewarden.Sample, _ *struct{}) ([]rewarden.Score, error) {
	if group[0].Extra == "fault" {
		return nil, rewarden.InvalidInput("as asked")
	}
	scores := make([]rewarden.Score, len(group))
	for i, sample := range group {
		if sample.Extra != "forgotten" {
			scores[i] = rewarden.Of(float64(len(sample.Response()) + 10*i))
		}
	}
	return scores, nil
}

func init() { rewarden.GroupReward(score) }

func main() {}
