module example.invalid/lb

go 1.19
