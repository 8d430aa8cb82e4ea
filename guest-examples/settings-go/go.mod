module settings

go 1.24

require rewarden v0.0.0

replace rewarden => ./.rewarden/sdk
