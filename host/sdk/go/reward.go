package rewarden

// judge scores one sample; set by configure.
var judge func(*Sample) (Score, error)

// Reward registers the plugin: score judges one sample, with the settings of the run. Call it once, in init.
//
// Settings is any struct that encoding/json reads; keys that it does not have are refused. Pass a value of it for what
// holds where the run says nothing. Settings that have a method Prepare (see Preparer) are prepared once.
func Reward[Settings any](score func(*Sample, *Settings) (Score, error), defaults ...Settings) {
	configure = func(text string) error {
		settings, err := settingsFrom(text, defaults)
		if err == nil {
			judge = func(sample *Sample) (Score, error) { return score(sample, settings) }
		}
		return err
	}
}

// judged is a sample's score, or the error in its place; a panic is one.
func judged(sample *Sample) (score Score, err error) {
	err = guard(func() (err error) {
		if judge == nil {
			return notConfigured()
		}
		if score, err = judge(sample); err == nil {
			err = score.check()
		}
		return err
	})
	return score, err
}
