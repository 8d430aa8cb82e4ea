package rewarden

//go:wasmimport rewarden:plugin/host-log@0.1.0 log
func importLog(level uint32, message string)

func hostLog(level Level, message string) { importLog(uint32(level), message) }
