module {{name}}

go 1.24

require rewarden v0.0.0

// The SDK, which `rewarden plugin build` writes.
replace rewarden => ./.rewarden/sdk
