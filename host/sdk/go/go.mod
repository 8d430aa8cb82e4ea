module rewarden

go 1.24
