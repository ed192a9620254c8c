package sidebyside

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// checkOnly names the variable that makes this program check signatures of that algorithm, for the seconds that its argument says, and say how many it
// checked and how long its processor took.
const checkOnly = "SIDEBYSIDE_CHECK"

// signedBytes is about what is signed of the tokens.
const signedBytes = 450

// checkSignatures is the floor for a token that is new: what the standard library takes, and nothing else.
func checkSignatures(algorithm string) {
	seconds, err := strconv.Atoi(os.Args[len(os.Args)-1])
	orPanic(err)
	message := make([]byte, signedBytes)
	verify := checker(algorithm, message)
	var done measure
	before := ownCPU()
	for began := time.Now(); done.elapsed < time.Duration(seconds)*time.Second; done.elapsed = time.Since(began) {
		for range 100 {
			if !verify() {
				panic("a signature that is good is refused")
			}
			done.requests++
		}
	}
	done.cpu = ownCPU() - before
	orPanic(json.NewEncoder(os.Stdout).Encode([]int64{int64(done.requests), int64(done.cpu), int64(done.elapsed)}))
}

func checker(algorithm string, message []byte) func() bool {
	hash := func() []byte {
		sum := sha256.Sum256(message)
		return sum[:]
	}
	switch algorithm {
	case "RS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		orPanic(err)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash())
		orPanic(err)
		return func() bool {
			return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, hash(), signature) == nil
		}
	case "ES256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		orPanic(err)
		signature, err := ecdsa.SignASN1(rand.Reader, key, hash())
		orPanic(err)
		return func() bool {
			return ecdsa.VerifyASN1(&key.PublicKey, hash(), signature)
		}
	default:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		orPanic(err)
		signature := ed25519.Sign(private, message)
		return func() bool { return ed25519.Verify(public, message, signature) }
	}
}

func ownCPU() time.Duration {
	var usage unix.Rusage
	orPanic(unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func orPanic(err error) {
	if err != nil {
		panic(err)
	}
}

// checks has signatures checked on the core of the proxies.
func (r *rig) checks(algorithm string, seconds int) measure {
	r.Helper()
	own, err := os.Executable()
	check(r, err)
	cmd := exec.CommandContext(r.Context(), r.taskset, "-c", proxyCore, own, strconv.Itoa(seconds))
	cmd.Env = append(os.Environ(), checkOnly+"="+algorithm)
	output, err := cmd.Output()
	if err != nil {
		r.Fatalf("checks of %s: %v: %s", algorithm, err, output)
	}
	var said []int64
	check(r, json.Unmarshal(output, &said))
	if len(said) != 3 {
		r.Fatalf("checks of %s: got %s", algorithm, output)
	}
	return measure{requests: int(said[0]), cpu: time.Duration(said[1]), elapsed: time.Duration(said[2])}
}
