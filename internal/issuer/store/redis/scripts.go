package redis

import (
	"embed"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var files embed.FS

// schema is the version of what scripts/all.lua describes. A release that changes it brings older data up to date in scripts/prove.lua.
const schema = 1

var (
	proving    = script("prove")
	creating   = script("create")
	listing    = script("list")
	rotating   = script("rotate")
	extending  = script("extend")
	ending     = script("end")
	endingAll  = script("endall")
	counting   = script("count")
	uncounting = script("uncount")
	sweeping   = script("sweep")
	forgetting = script("forget")
)

// script is a script with what all share. With the first line Redis refuses it when it could not run to its end.
func script(name string) *goredis.Script {
	return goredis.NewScript("#!lua\n" + read("all") + read(name))
}

func read(name string) string {
	text, err := files.ReadFile("scripts/" + name + ".lua")
	if err != nil { // it is compiled in
		panic(err)
	}
	return string(text)
}
