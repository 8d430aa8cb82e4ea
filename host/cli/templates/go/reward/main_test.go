package main

import (
	"testing"

	"rewarden"
)

func TestTheAnswerAfterTheLastMarkerCounts(t *testing.T) {
	for response, expected := range map[string]float64{
		"Answer: 42":                      1,
		"Answer: 7. No, wait. Answer: 42": 1,
		"Answer: 7":                       0,
		"42":                              0,
		"":                                0,
	} {
		got, err := score(rewarden.NewSample(response, "42"), &defaults)
		if value, _ := got.Value(); err != nil || value != expected {
			t.Errorf("%q: %v, %v", response, value, err)
		}
	}
}
