package main

import (
	_ "github.com/getsops/sops/v3"
	_ "github.com/getsops/sops/v3/aes"
	_ "github.com/getsops/sops/v3/age"
	_ "github.com/getsops/sops/v3/cmd/sops/common"
	_ "github.com/getsops/sops/v3/cmd/sops/formats"
	_ "github.com/getsops/sops/v3/config"
	_ "github.com/getsops/sops/v3/keyservice"
)

func main() {}
