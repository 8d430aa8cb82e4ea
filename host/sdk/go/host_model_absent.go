//go:build !wasm

package rewarden

func hostScore(string, [][]Message) ([]float64, error) { return nil, noModel() }

func hostGenerate(string, [][]Message, uint32) ([]string, error) { return nil, noModel() }

func noModel() error { return Unavailable("add \"host-model\" to `capabilities` in plugin.toml") }
