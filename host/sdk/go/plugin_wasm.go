package rewarden

import (
	"structs"
	"unsafe"
)

type rawManifest struct {
	_              structs.HostLayout
	name           text
	version        text
	summary        text
	settingsSchema text
}

//go:wasmexport rewarden:plugin/plugin@0.1.0#describe
func describe() unsafe.Pointer {
	return answer(rawManifest{
		name:           lower(manifestName),
		version:        lower(manifestVersion),
		summary:        lower(manifestSummary),
		settingsSchema: lower(manifestSettingsSchema),
	})
}

//go:wasmexport cabi_post_rewarden:plugin/plugin@0.1.0#describe
func describeRead(unsafe.Pointer) { read() }

//go:wasmexport rewarden:plugin/plugin@0.1.0#configure
func configureExport(settings, length, givenSeed uint32) unsafe.Pointer {
	given := text{at: settings, length: length}.lift()
	lifted()
	seed = givenSeed
	if err := guard(func() error { return configure(given) }); err != nil {
		return answer(rawResult{isFault: 1, fault: lowerFault(err)})
	}
	return answer(rawResult{})
}

//go:wasmexport cabi_post_rewarden:plugin/plugin@0.1.0#configure
func configureRead(unsafe.Pointer) { read() }
