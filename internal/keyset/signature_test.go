package keyset_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/edwards25519"
	"filippo.io/nistec"

	"github.com/latchkey-dev/latchkey/internal/keyset"
)

// A pair is a key with what signs, and with the standard library's own word on a signature.
type pair struct {
	algorithm string
	key       *keyset.Key
	sign      func(input []byte) []byte
	verify    func(input, signature []byte) bool
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

func pkcs1Pair(algorithm string, hash crypto.Hash, private *rsa.PrivateKey) pair {
	return pair{
		algorithm, must(keyset.New("k", algorithm, &private.PublicKey, time.Time{})),
		func(input []byte) []byte { return must(rsa.SignPKCS1v15(nil, private, hash, sum(hash, input))) },
		func(input, signature []byte) bool {
			return rsa.VerifyPKCS1v15(&private.PublicKey, hash, sum(hash, input), signature) == nil
		},
	}
}

func pssPair(algorithm string, hash crypto.Hash, private *rsa.PrivateKey) pair {
	options := &rsa.PSSOptions{SaltLength: hash.Size()}
	return pair{
		algorithm, must(keyset.New("k", algorithm, &private.PublicKey, time.Time{})),
		func(input []byte) []byte {
			return must(rsa.SignPSS(rand.Reader, private, hash, sum(hash, input), options))
		},
		func(input, signature []byte) bool {
			return rsa.VerifyPSS(&private.PublicKey, hash, sum(hash, input), signature, options) == nil
		},
	}
}

func ecdsaPair(algorithm string, hash crypto.Hash, private *ecdsa.PrivateKey) pair {
	size := (private.Params().BitSize + 7) / 8
	return pair{
		algorithm, must(keyset.New("k", algorithm, &private.PublicKey, time.Time{})),
		func(input []byte) []byte {
			r, s, err := ecdsa.Sign(rand.Reader, private, sum(hash, input))
			return sideBySide(must(r, err), s, size)
		},
		func(input, signature []byte) bool {
			if len(signature) != 2*size {
				return false
			}
			r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
			return ecdsa.Verify(&private.PublicKey, sum(hash, input), r, s)
		},
	}
}

// sideBySide writes an ECDSA signature as tokens have it.
func sideBySide(r, s *big.Int, size int) []byte {
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

func pairs() []pair {
	odd := must(rsa.GenerateKey(rand.Reader, 2051)) // whose first byte has three bits
	public, private, err := ed25519.GenerateKey(rand.Reader)
	all := []pair{
		pkcs1Pair("RS256", crypto.SHA256, rsaKey), pkcs1Pair("RS384", crypto.SHA384, odd), pkcs1Pair("RS512", crypto.SHA512, odd),
		pssPair("PS256", crypto.SHA256, rsaKey), pssPair("PS384", crypto.SHA384, rsaKey), pssPair("PS512", crypto.SHA512, rsaKey),
		ecdsaPair("ES256", crypto.SHA256, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))), ecdsaPair("ES384", crypto.SHA384, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))), ecdsaPair("ES512", crypto.SHA512, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))),
		{
			"EdDSA", must(keyset.New("k", "EdDSA", must(public, err), time.Time{})),
			func(input []byte) []byte { return ed25519.Sign(private, input) },
			func(input, signature []byte) bool { return ed25519.Verify(public, input, signature) },
		},
	}
	for algorithm, hash := range map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512} {
		secret := bytes.Repeat([]byte("s"), hash.Size())
		mac := func(input []byte) []byte {
			m := hmac.New(hash.New, secret)
			m.Write(input)
			return m.Sum(nil)
		}
		all = append(all, pair{
			algorithm, must(keyset.New("k", algorithm, secret, time.Time{})), mac,
			func(input, signature []byte) bool { return bytes.Equal(mac(input), signature) },
		})
	}
	return all
}

func TestASignatureCountsIfTheStandardLibrarySaysSo(t *testing.T) {
	for _, p := range pairs() {
		t.Run(p.algorithm, func(t *testing.T) {
			for n := range 50 { // some have numbers that begin with zeros, or with a bit that makes them negative in ASN.1
				input := []byte{byte(n)}
				signature := p.sign(input)
				if p.key.Verify(input, signature) != nil {
					t.Fatalf("%d: %x is refused", n, signature)
				}
				if p.key.Verify([]byte("other"), signature) == nil {
					t.Fatalf("%d: %x is taken for another text", n, signature)
				}
			}
			input := []byte("header.payload")
			good := p.sign(input)
			for _, wrong := range mutations(good) {
				if got, want := p.key.Verify(input, wrong) == nil, p.verify(input, wrong); got != want {
					t.Errorf("%x: got %t, want %t", wrong, got, want)
				}
			}
		})
	}
}

// mutations are signatures that one might take for the good one, or stumble over.
func mutations(good []byte) [][]byte {
	zero, half := make([]byte, len(good)), len(good)/2
	list := [][]byte{
		nil, {0}, zero, bytes.Repeat([]byte{0xff}, len(good)), good[:len(good)-1], good[1:], append([]byte{0}, good...), append(bytes.Clone(good), 0), slices.Concat(good[:half], []byte{0}, good[half:]),
		append(bytes.Clone(zero[:half]), good[half:]...), append(bytes.Clone(good[:half]), zero[half:]...), append(bytes.Clone(good[half:]), good[:half]...),
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1 << (i % 8)
		list = append(list, changed)
	}
	return list
}

func TestAnRSASignatureIsBelowTheModulus(t *testing.T) {
	p := pkcs1Pair("RS256", crypto.SHA256, rsaKey)
	for n := range 200 {
		input := []byte{byte(n)}
		same := new(big.Int).SetBytes(p.sign(input))
		if same.Add(same, rsaKey.N); same.BitLen() > rsaKey.N.BitLen() { // no room for it
			continue
		}
		if p.key.Verify(input, same.FillBytes(make([]byte, rsaKey.Size()))) == nil {
			t.Fatal("a second spelling of a signature is taken: the modulus was added to it")
		}
		return
	}
	t.Error("no signature was small enough to have the modulus added")
}

func TestAnEd25519SignatureIsBelowTheOrder(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	key := must(keyset.New("k", "EdDSA", must(public, err), time.Time{}))
	input := []byte("header.payload")
	signature := ed25519.Sign(private, input)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(signature[32:])
	slices.Reverse(s) // little-endian there
	s = order.Add(order, new(big.Int).SetBytes(s)).FillBytes(s)
	slices.Reverse(s)
	if key.Verify(input, append(signature[:32:32], s...)) == nil {
		t.Error("a second spelling of a signature is taken: the order of the group was added to it")
	}
	if key.Verify(input, signature) != nil {
		t.Error("the signature itself is refused")
	}
}

// ecdsaAlgorithms are those with their curves and hashes.
var ecdsaAlgorithms = []struct {
	name  string
	curve elliptic.Curve
	hash  crypto.Hash
}{{"ES256", elliptic.P256(), crypto.SHA256}, {"ES384", elliptic.P384(), crypto.SHA384}, {"ES512", elliptic.P521(), crypto.SHA512}}

// privateKey is the one whose secret number is d, modulo the curve's order.
func privateKey(curve elliptic.Curve, d *big.Int) *ecdsa.PrivateKey {
	order := curve.Params().N
	d = new(big.Int).Mod(d, order)
	return must(ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, (order.BitLen()+7)/8))))
}

// TestKeysThatMeetThemselvesAreKeys has secret numbers whose points come up again, or their negatives, while they are multiplied: adding a point to itself is another
// formula than adding two, and adding it to its negative a third.
func TestKeysThatMeetThemselvesAreKeys(t *testing.T) {
	for _, a := range ecdsaAlgorithms {
		t.Run(a.name, func(t *testing.T) {
			numbers := []*big.Int{big.NewInt(1), big.NewInt(2), big.NewInt(3), big.NewInt(-1), big.NewInt(-2)}
			for bits := 1; bits < a.curve.Params().BitSize; bits += 7 {
				power := new(big.Int).Lsh(big.NewInt(1), uint(bits))
				numbers = append(numbers, power, new(big.Int).Neg(power), new(big.Int).Sub(power, big.NewInt(1)), new(big.Int).ModInverse(power, a.curve.Params().N))
			}
			for _, d := range numbers {
				p := ecdsaPair(a.name, a.hash, privateKey(a.curve, d))
				input := d.Append(nil, 16)
				if signature := p.sign(input); p.key.Verify(input, signature) != nil || p.key.Verify(append(input, 'x'), signature) == nil {
					t.Errorf("got another word than the standard library's on the signature %x of the key %x", signature, d)
				}
			}
		})
	}
}

// TestAnECDSASignatureMayLeadAnywhere makes signatures whose two points, the generator's multiple and the key's, are the same, and such as are each other's negative.
func TestAnECDSASignatureMayLeadAnywhere(t *testing.T) {
	for _, a := range ecdsaAlgorithms {
		t.Run(a.name, func(t *testing.T) {
			input, order, size := []byte("header.payload"), a.curve.Params().N, (a.curve.Params().BitSize+7)/8
			e := new(big.Int).SetBytes(sum(a.hash, input))
			inverse := func(number *big.Int) *big.Int { return new(big.Int).ModInverse(number, order) }
			times := func(x, y *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(x, y), order) }
			for range 20 {
				u := must(rand.Int(rand.Reader, order))
				twice := must(privateKey(a.curve, new(big.Int).Lsh(u, 1)).PublicKey.Bytes())
				r := new(big.Int).Mod(new(big.Int).SetBytes(twice[1:1+size]), order)
				same := ecdsaPair(a.name, a.hash, privateKey(a.curve, times(e, inverse(r))))
				if signature := sideBySide(r, times(e, inverse(u)), size); same.key.Verify(input, signature) != nil || !same.verify(input, signature) {
					t.Errorf("%x: got a signature refused that adds a point to itself", signature)
				}
				opposite := ecdsaPair(a.name, a.hash, privateKey(a.curve, new(big.Int).Neg(times(e, inverse(r)))))
				if signature := sideBySide(r, u, size); opposite.key.Verify(input, signature) == nil || opposite.verify(input, signature) {
					t.Errorf("%x: got a signature taken that leads to infinity", signature)
				}
			}
		})
	}
}

func TestTheXCoordinateMayBeAboveTheOrder(t *testing.T) {
	t.Run("ES256", func(t *testing.T) { testXAboveTheOrder(t, 0, nistec.NewP256Point) })
	t.Run("ES384", func(t *testing.T) { testXAboveTheOrder(t, 1, nistec.NewP384Point) })
	t.Run("ES512", func(t *testing.T) { testXAboveTheOrder(t, 2, nistec.NewP521Point) })
}

type nistPoint[P any] interface {
	Add(p, q P) P
	SetBytes(encoded []byte) (P, error)
	ScalarMult(p P, number []byte) (P, error)
	ScalarBaseMult(number []byte) (P, error)
	Bytes() []byte
}

// testXAboveTheOrder makes the key whose signature leads to a point that nobody meets by chance: its x coordinate is not r, but r and the order.
func testXAboveTheOrder[P nistPoint[P]](t *testing.T, which int, newPoint func() P) {
	a := ecdsaAlgorithms[which]
	order, size := a.curve.Params().N, (a.curve.Params().BitSize+7)/8
	x, point := new(big.Int).Set(order), newPoint()
	for found := false; !found; {
		_, err := point.SetBytes(append([]byte{2}, x.Add(x, big.NewInt(1)).FillBytes(make([]byte, size))...))
		found = err == nil
	}
	r, s, input := new(big.Int).Sub(x, order), big.NewInt(7), []byte("header.payload")
	overR := func(number *big.Int) []byte {
		number = new(big.Int).Mul(number, new(big.Int).ModInverse(r, order))
		return number.Mod(number, order).FillBytes(make([]byte, size))
	}
	q := must(newPoint().ScalarBaseMult(overR(new(big.Int).Neg(new(big.Int).SetBytes(sum(a.hash, input))))))
	q.Add(q, must(newPoint().ScalarMult(point, overR(s))))
	public := must(ecdsa.ParseUncompressedPublicKey(a.curve, q.Bytes()))
	key := must(keyset.New("k", a.name, public, time.Time{}))
	if key.Verify(input, sideBySide(r, s, size)) != nil || !ecdsa.Verify(public, sum(a.hash, input), r, s) {
		t.Error("got the signature refused")
	}
	if key.Verify(input, sideBySide(x, s, size)) == nil {
		t.Error("got the x coordinate itself taken for r")
	}
}

func TestAnECDSASignatureIsInRange(t *testing.T) {
	for _, a := range ecdsaAlgorithms {
		t.Run(a.name, func(t *testing.T) {
			order, size := a.curve.Params().N, (a.curve.Params().BitSize+7)/8
			p := ecdsaPair(a.name, a.hash, privateKey(a.curve, big.NewInt(7)))
			input := []byte("header.payload")
			good := p.sign(input)
			r, s := new(big.Int).SetBytes(good[:size]), new(big.Int).SetBytes(good[size:])
			zero, one, most := new(big.Int), big.NewInt(1), new(big.Int).Sub(order, big.NewInt(1))
			for _, wrong := range [][2]*big.Int{{zero, s}, {r, zero}, {zero, zero}, {order, s}, {r, order}, {order, order}, {one, one}, {most, most}, {one, most}, {most, one}} {
				if p.key.Verify(input, sideBySide(wrong[0], wrong[1], size)) == nil {
					t.Errorf("got r = %x, s = %x taken", wrong[0], wrong[1])
				}
			}
			// A second spelling fits where the number is small; of P-521 it always does.
			for _, number := range []*big.Int{r, s} {
				if number.Add(number, order); number.BitLen() <= 8*size && p.key.Verify(input, sideBySide(r, s, size)) == nil {
					t.Error("a second spelling of a signature is taken: the order of the group was added to it")
				}
				number.Sub(number, order)
			}
			if p.key.Verify(input, sideBySide(r, new(big.Int).Sub(order, s), size)) != nil {
				t.Error("the signature's twin is refused")
			}
		})
	}
}

// torsion is a point of order 8.
var torsion = must(new(edwards25519.Point).SetBytes(must(hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))))

func TestNoEd25519KeyIsOfSmallOrder(t *testing.T) {
	for n, p := 1, edwards25519.NewIdentityPoint(); n <= 8; n++ {
		p.Add(p, torsion)
		if key, err := keyset.New("k", "EdDSA", ed25519.PublicKey(p.Bytes()), time.Time{}); err == nil {
			t.Errorf("%d: got %v, with which anybody can sign", n, key)
		}
	}
}

// TestAPointHasOneSpelling signs with the number 0, whose point is spelled as 1, and spells it in other ways as well, as the signer alone can.
func TestAPointHasOneSpelling(t *testing.T) {
	secret := must(new(edwards25519.Scalar).SetUniformBytes(bytes.Repeat([]byte{3}, 64)))
	public := new(edwards25519.Point).ScalarBaseMult(secret).Bytes()
	key := must(keyset.New("k", "EdDSA", ed25519.PublicKey(public), time.Time{}))
	input, middle := []byte("header.payload"), make([]byte, 30)
	full := bytes.Repeat([]byte{0xff}, 30)
	for _, tc := range []struct {
		name    string
		spelled []byte
		want    bool
	}{
		{"1", slices.Concat([]byte{1}, middle, []byte{0}), true},
		{"1 with a sign", slices.Concat([]byte{1}, middle, []byte{0x80}), false},
		{"1 and the modulus", slices.Concat([]byte{0xee}, full, []byte{0x7f}), false},
		{"1 and the modulus with a sign", slices.Concat([]byte{0xee}, full, []byte{0xff}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := must(new(edwards25519.Scalar).SetUniformBytes(sum(crypto.SHA512, slices.Concat(tc.spelled, public, input))))
			signature := slices.Concat(tc.spelled, new(edwards25519.Scalar).Multiply(k, secret).Bytes())
			if got := key.Verify(input, signature) == nil; got != tc.want || got != ed25519.Verify(public, input, signature) {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

// TestAnEd25519KeyMayHaveAPartOfSmallOrder holds signatures of such keys against the standard library: without the cofactor some count, and most do not.
func TestAnEd25519KeyMayHaveAPartOfSmallOrder(t *testing.T) {
	secret := must(new(edwards25519.Scalar).SetUniformBytes(bytes.Repeat([]byte{3}, 64)))
	public := new(edwards25519.Point).ScalarBaseMult(secret)
	public.Add(public, torsion)
	key := must(keyset.New("k", "EdDSA", ed25519.PublicKey(public.Bytes()), time.Time{}))
	taken := 0
	for n := range 200 {
		input := []byte{byte(n)}
		nonce := must(new(edwards25519.Scalar).SetUniformBytes(bytes.Repeat([]byte{byte(n), 1}, 32)))
		spelled := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
		k := must(new(edwards25519.Scalar).SetUniformBytes(sum(crypto.SHA512, slices.Concat(spelled, public.Bytes(), input))))
		signature := slices.Concat(spelled, new(edwards25519.Scalar).MultiplyAdd(k, secret, nonce).Bytes())
		got, want := key.Verify(input, signature) == nil, ed25519.Verify(public.Bytes(), input, signature)
		if got != want {
			t.Errorf("%d: got %t, want %t", n, got, want)
		}
		if got {
			taken++
		}
	}
	if taken == 0 || taken > 100 {
		t.Errorf("got %d of 200 signatures taken: the key is not what it was meant to be", taken)
	}
}

func TestKeysThatAreOnlyReadArePreparedForNothing(t *testing.T) {
	modulus := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 8191)))
	modulus.SetBit(modulus.SetBit(modulus, 8191, 1), 0, 1)
	for _, tc := range []struct {
		algorithm string
		material  any
		size      int    // of a signature
		most      uint64 // bytes that reading it takes, less than what is prepared
	}{
		{"RS256", &rsa.PublicKey{N: modulus, E: 1<<31 - 1}, 1024, 64 << 10},
		{"ES512", &must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey, 132, 24 << 10},
		{"EdDSA", ed25519.PublicKey(edwards25519.NewGeneratorPoint().Bytes()), 64, 12 << 10},
	} {
		t.Run(tc.algorithm, func(t *testing.T) {
			var key *keyset.Key
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const reads = 10
			for range reads {
				key = must(keyset.New("k", tc.algorithm, tc.material, time.Time{}))
			}
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) / reads; got > tc.most {
				t.Errorf("got a key that takes %d bytes to read, want %d at most", got, tc.most)
			}
			var all sync.WaitGroup
			for range 8 { // the first signature may come more than once
				all.Go(func() {
					if key.Verify([]byte("header.payload"), bytes.Repeat([]byte{1}, tc.size)) == nil {
						t.Error("got a made-up signature taken")
					}
				})
			}
			all.Wait()
		})
	}
}

func TestAKeyAndItsCopiesArePreparedOnce(t *testing.T) {
	for _, p := range pairs() {
		if p.algorithm != "ES256" && p.algorithm != "EdDSA" { // the others make more garbage with every signature, or have nothing prepared that could be counted
			continue
		}
		t.Run(p.algorithm, func(t *testing.T) {
			input := []byte("header.payload")
			signature := p.sign(input)
			_ = p.key.Verify(input, signature)
			const most = 60 // to prepare takes more
			if got := testing.AllocsPerRun(10, func() { _ = p.key.Until(time.Unix(1, 0)).Verify(input, signature) }); got > most {
				t.Errorf("got a check that allocates %v times, want %d at most", got, most)
			}
		})
	}
}

// TestAnRSASignatureHoldsTheOneMessage has the private key sign what is nearly what it should: other paddings, digests of other hashes and with
// other things around them, which lenient readers take, and with which signatures were forged (CVE-2006-4339).
func TestAnRSASignatureHoldsTheOneMessage(t *testing.T) {
	input := []byte("header.payload")
	digest := sum(crypto.SHA256, input)
	info := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	withoutNull := []byte{0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20}
	size := rsaKey.Size()
	filled := func(tail []byte) []byte {
		head := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(tail))...)
		return append(append(head, 0), tail...)
	}
	right := filled(append(bytes.Clone(info), digest...))
	changed := func(at int, to byte) []byte {
		message := bytes.Clone(right)
		message[at] = to
		return message
	}
	early := append([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, append(bytes.Clone(info), digest...)...)
	key := must(keyset.New("k", "RS256", &rsaKey.PublicKey, time.Time{}))
	for _, tc := range []struct {
		name    string
		message []byte
		want    bool
	}{
		{"the message itself", right, true},
		{"a digest alone", filled(digest), false},
		{"an algorithm without NULL", filled(append(bytes.Clone(withoutNull), digest...)), false},
		{"another hash's name", changed(size-32-19+14, 0x02), false},
		{"something after the digest", append(early, bytes.Repeat([]byte{1}, size-len(early))...), false},
		{"something before the digest", filled(append(append(bytes.Clone(info), 0), digest...)), false},
		{"padding for encryption", changed(1, 2), false},
		{"padding with another byte in it", changed(100, 0xfe), false},
		{"padding that ends early", changed(100, 0), false},
		{"padding of zeros", append(make([]byte, size-51), right[size-51:]...), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			signature := new(big.Int).Exp(new(big.Int).SetBytes(tc.message), rsaKey.D, rsaKey.N).FillBytes(make([]byte, size))
			if got := key.Verify(input, signature) == nil; got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

// FuzzVerify holds every algorithm against the standard library, over signatures that are good or nearly so.
func FuzzVerify(f *testing.F) {
	all := pairs()
	f.Add(uint8(0), []byte("a.b"), []byte{}, uint16(0))
	f.Add(uint8(6), []byte("a.b"), []byte{1}, uint16(0))
	f.Add(uint8(8), []byte("a.b"), []byte{0xff, 0xff}, uint16(66))
	f.Fuzz(func(t *testing.T, which uint8, input, change []byte, at uint16) {
		p := all[int(which)%len(all)]
		signature := p.sign(input)
		for i, b := range change {
			signature[(int(at)+i)%len(signature)] ^= b
		}
		if got, want := p.key.Verify(input, signature) == nil, p.verify(input, signature); got != want {
			t.Errorf("%s %x: got %t, want %t", p.algorithm, signature, got, want)
		}
	})
}
