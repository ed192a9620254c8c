package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

const issuerURL = "https://auth.example"

var (
	now   = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	key   = must(signing.Generate("ES256", 0))
	other = must(signing.Generate("ES256", 0))
	rsa   = must(signing.Generate("RS256", 0))
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func set(keys ...*signing.Key) *keyset.Set {
	public := make([]*keyset.Key, len(keys))
	for i, k := range keys {
		public[i] = k.Public(time.Time{})
	}
	return must(keyset.NewSet(public...))
}

func issuer() verify.Issuer {
	return verify.Issuer{URL: issuerURL, Audiences: []string{"app", "api"}, TokenType: "at+jwt", ClockSkew: 5 * time.Second, Keys: set(key, rsa)}
}

func unix(offset time.Duration) int64 { return now.Add(offset).Unix() }

// good are claims that are taken, with changes; nil takes a claim away.
func good(changes ...any) map[string]any {
	claims := map[string]any{
		"iss": issuerURL, "sub": "alice", "aud": "app", "exp": unix(time.Minute), "iat": unix(-time.Minute), "jti": "j", "sid": "s",
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(claims, changes[i].(string))
		} else {
			claims[changes[i].(string)] = changes[i+1]
		}
	}
	return claims
}

func sign(claims map[string]any) string { return signText(string(must(json.Marshal(claims)))) }

func signText(claims string) string { return must(key.Sign("at+jwt", []byte(claims))) }

// privateKey returns a private key as any other server would read it, to sign what signing.Key.Sign never would.
func privateKey(k *signing.Key) any {
	block, _ := pem.Decode(k.PrivatePEM())
	return must(x509.ParsePKCS8PrivateKey(block.Bytes))
}

// signHeader signs with key under any header.
func signHeader(t *testing.T, header, claims string) string {
	t.Helper()
	return signParts(t, base64url.Encode([]byte(header)), base64url.Encode([]byte(claims)))
}

// signParts makes a token of two parts, well-formed or not, with a true signature over them.
func signParts(t *testing.T, header, payload string) string {
	t.Helper()
	return signPartsBy(t, key, header, payload)
}

func signPartsBy(t *testing.T, by *signing.Key, header, payload string) string {
	t.Helper()
	input := header + "." + payload
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, privateKey(by).(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64url.Encode(signature)
}

func header(extra string) string {
	return fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"%s}`, key.ID(), extra)
}

func wantReason(t *testing.T, err error, want verify.Reason) {
	t.Helper()
	var refusal *verify.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal: %s", err, want)
	}
	if got := refusal.Reason; got != want {
		t.Errorf("got %v, want %s", refusal, want)
	}
}

func TestVerifyTakesAGoodToken(t *testing.T) {
	got, err := must(verify.New([]verify.Issuer{issuer()})).Verify(sign(good("roles", []string{"admin"})), now)
	if err != nil {
		t.Fatal(err)
	}
	want := &verify.Token{
		Issuer: issuerURL, Subject: "alice", ID: "j", SessionID: "s", KeyID: key.ID(),
		IssuedAt: now.Add(-time.Minute), Expires: now.Add(time.Minute), ValidUntil: now.Add(time.Minute + 5*time.Second),
		Claims: map[string]any{
			"iss": issuerURL, "sub": "alice", "aud": "app", "jti": "j", "sid": "s", "roles": []any{"admin"},
			"exp": json.Number(fmt.Sprint(unix(time.Minute))), "iat": json.Number(fmt.Sprint(unix(-time.Minute))),
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestVerifyTakesEveryAlgorithm(t *testing.T) {
	for _, algorithm := range keyset.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			k := must(signing.Generate(algorithm, 0))
			i := issuer()
			i.Keys = set(k)
			token := must(k.Sign("at+jwt", must(json.Marshal(good()))))
			if _, err := must(verify.New([]verify.Issuer{i})).Verify(token, now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyJudgesClaims(t *testing.T) {
	for _, tc := range []struct {
		name   string
		claims map[string]any
		want   verify.Reason // empty: taken
	}{
		{"takes an audience in a list", good("aud", []string{"else", "api"}), ""},
		{"takes a token without sub, iat, jti and sid", good("sub", nil, "iat", nil, "jti", nil, "sid", nil), ""},
		{"takes a date with a fraction", good("exp", json.Number("1767268860.5")), ""},
		{"takes a date with an exponent", good("exp", json.Number("1.7672688600e9")), ""},
		{"takes a token within the skew after its end", good("exp", unix(-4*time.Second)), ""},
		{"takes a token within the skew before its beginning", good("nbf", unix(5*time.Second)), ""},
		{"takes a token from a clock that is ahead within the skew", good("iat", unix(5*time.Second)), ""},

		{"refuses a token without an issuer", good("iss", nil), verify.UnknownIssuer},
		{"refuses another issuer", good("iss", "https://evil.example"), verify.UnknownIssuer},
		{"refuses an issuer with a slash more", good("iss", issuerURL+"/"), verify.UnknownIssuer},
		{"refuses an issuer in another case", good("iss", strings.ToUpper(issuerURL)), verify.UnknownIssuer},
		{"refuses a list of issuers", good("iss", []string{issuerURL}), verify.Malformed},
		{"refuses an empty issuer", good("iss", ""), verify.Malformed},

		{"refuses a token without an audience", good("aud", nil), verify.WrongAudience},
		{"refuses another audience", good("aud", "ap"), verify.WrongAudience},
		{"refuses other audiences", good("aud", []string{"a", "App"}), verify.WrongAudience},
		{"refuses no audiences", good("aud", []string{}), verify.WrongAudience},
		{"refuses an audience that is a number", good("aud", 1), verify.Malformed},
		{"refuses a number among the audiences, even behind the right one", good("aud", []any{"app", 1}), verify.Malformed},
		{"refuses an object for an audience", good("aud", map[string]any{"app": 1}), verify.Malformed},
		{"refuses null for an audience", good("aud", json.RawMessage("null")), verify.Malformed},

		{"refuses a token without an end", good("exp", nil), verify.Malformed},
		{"refuses a token at its end plus the skew", good("exp", unix(-5*time.Second)), verify.Expired},
		{"refuses a token from 1970", good("exp", 0), verify.Expired},
		{"refuses an end that is a string", good("exp", "1767268860"), verify.Malformed},
		{"refuses null for an end", good("exp", json.RawMessage("null")), verify.Malformed},
		{"refuses a negative end", good("exp", -1), verify.Malformed},
		{"refuses an end at 1e308", good("exp", json.Number("1e308")), verify.Malformed},
		{"refuses an end at 1e999", good("exp", json.Number("1e999")), verify.Malformed},
		{"refuses an end beyond int64", good("exp", json.Number("9223372036854775808")), verify.Malformed},
		{"refuses an end after the year 9999", good("exp", json.Number("253402300800")), verify.Malformed},
		{"refuses a token before its beginning", good("nbf", unix(6*time.Second)), verify.NotYetValid},
		{"refuses a token from the future", good("iat", unix(6*time.Second)), verify.NotYetValid},
		{"refuses a beginning that is a boolean", good("nbf", true), verify.Malformed},
		{"refuses a beginning that is a string", good("nbf", "0"), verify.Malformed},
		{"refuses a negative beginning", good("nbf", json.Number("-1")), verify.Malformed},
		{"refuses a beginning at 1e308", good("nbf", json.Number("1e308")), verify.Malformed},
		{"takes a beginning at 0", good("nbf", 0), ""},
		{"takes a beginning with a fraction", good("nbf", json.Number("1767268740.25")), ""},
		{"refuses null for a beginning", good("nbf", json.RawMessage("null")), verify.Malformed},
		{"refuses an issue date that is a string", good("iat", "1767268740"), verify.Malformed},
		{"refuses a negative issue date", good("iat", json.Number("-0.5")), verify.Malformed},
		{"refuses an issue date at 1e308", good("iat", json.Number("1e308")), verify.Malformed},
		{"refuses a list of issue dates", good("iat", []int{1}), verify.Malformed},
		{"refuses an end of minus nothing, which is 1970", good("exp", json.Number("-0")), verify.Expired},
		{"refuses an end that is hardly one", good("exp", json.Number("1e-300")), verify.Expired},
		{"refuses an end of minus infinity", good("exp", json.Number("-1e308")), verify.Malformed},
		{"takes the last second of all", good("exp", json.Number("253402300799")), ""},
		{"refuses an end that is a list", good("exp", []int64{unix(time.Minute)}), verify.Malformed},
		{"refuses a list of lists of audiences", good("aud", []any{[]string{"app"}}), verify.Malformed},
		{"takes an audience that is there twice", good("aud", []string{"app", "app"}), ""},
		{"refuses a subject that is an object", good("sub", map[string]any{"a": "b"}), verify.Malformed},
		{"refuses null for a subject", good("sub", json.RawMessage("null")), verify.Malformed},

		{"refuses a bound token", good("cnf", map[string]any{"jkt": "x"}), verify.BoundToken},
		{"refuses a token bound to null", good("cnf", json.RawMessage("null")), verify.BoundToken},
		{"refuses a subject that is a number", good("sub", 1), verify.Malformed},
		{"refuses an empty subject", good("sub", ""), verify.Malformed},
		{"refuses a session that is null", good("sid", json.RawMessage("null")), verify.Malformed},
		{"refuses a token id that is a list", good("jti", []string{"a"}), verify.Malformed},
		{"refuses claims that differ in case", good("EXP", unix(time.Hour)), verify.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := must(verify.New([]verify.Issuer{issuer()})).Verify(sign(tc.claims), now)
			if tc.want != "" {
				wantReason(t, err, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestVerifyIsStrictWhereJwxIsNot has a case for everything that jwx's own parser lets pass, each with a true signature by the issuer's key, so
// that only the envelope can refuse it.
func TestVerifyIsStrictWhereJwxIsNot(t *testing.T) {
	claims := string(must(json.Marshal(good())))
	token := sign(good())
	parts := strings.Split(token, ".")
	claims64, header64 := parts[1], parts[0]

	for _, tc := range []struct {
		name, token string
		want        verify.Reason
	}{
		{"a flattened JSON object round a genuine token", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q,"sub":"root"}`, claims64, header64, parts[2]), verify.Malformed},
		{"a general JSON object", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, claims64, header64, parts[2]), verify.Malformed},
		{"a space in front", " " + token, verify.Malformed},
		{"a space behind", token + " ", verify.Malformed},
		{"a line feed behind", token + "\n", verify.Malformed},
		{"a second spelling of the header, signed", signParts(t, respell(header("")), claims64), verify.Malformed},
		{"a second spelling of the claims, signed", signParts(t, header64, respell(claims)), verify.Malformed},
		{"the URL's percent-encoding", strings.Replace(token, ".", "%2E", 1), verify.Malformed},
		{"a CR inside", parts[0] + "." + parts[1][:4] + "\r" + parts[1][4:] + "." + parts[2], verify.Malformed},
		{"a line feed inside that was signed", signParts(t, header64, claims64[:8]+"\n"+claims64[8:]), verify.Malformed},
		{"padding that was signed", signParts(t, header64, claims64+"="), verify.Malformed},
		{"the standard alphabet", signParts(t, header64, base64.RawStdEncoding.EncodeToString([]byte(claims[:len(claims)-1]+`,"x":"???>>>"}`))), verify.Malformed},
		{"a second spelling of the signature", token[:len(token)-1] + string(nextBase64(token[len(token)-1])), verify.Malformed},
		{"a NUL behind", token + "\x00", verify.Malformed},
		{"nothing", "", verify.Malformed},
		{"no dots", "abc", verify.Malformed},
		{"one dot", parts[0] + "." + parts[1], verify.Malformed},
		{"no signature", parts[0] + "." + parts[1] + ".", verify.BadSignature},
		{"no payload", parts[0] + ".." + parts[2], verify.Malformed},
		{"three dots", token + ".a", verify.Malformed},
		{"an encrypted token", "a.b.c.d.e", verify.Unsupported},
		{"a megabyte of dots", strings.Repeat(".", 1<<20), verify.Malformed},
		{"16 kB of dots", strings.Repeat(".", 16<<10), verify.Malformed},
		{"four megabytes of claims", signText(`{"iss":"` + issuerURL + `","x":"` + strings.Repeat("a", 4<<20) + `"}`), verify.Malformed},

		{"no alg", signHeader(t, fmt.Sprintf(`{"kid":%q,"typ":"at+jwt"}`, key.ID()), claims), verify.Unsupported},
		{"alg none", signHeader(t, strings.Replace(header(""), "ES256", "none", 1), claims), verify.Unsupported},
		{"alg nOnE", signHeader(t, strings.Replace(header(""), "ES256", "nOnE", 1), claims), verify.Unsupported},
		{"alg none without a signature", base64url.Encode([]byte(`{"alg":"none"}`)) + "." + claims64 + ".", verify.Unsupported},
		{"alg NONE", signHeader(t, strings.Replace(header(""), "ES256", "NONE", 1), claims), verify.Unsupported},
		{"alg none with a space", signHeader(t, strings.Replace(header(""), "ES256", "none ", 1), claims), verify.Unsupported},
		{"an empty alg", signHeader(t, strings.Replace(header(""), "ES256", "", 1), claims), verify.Malformed},
		{"alg in small letters", signHeader(t, strings.Replace(header(""), "ES256", "es256", 1), claims), verify.Unsupported},
		{"the alg of another key", signHeader(t, strings.Replace(header(""), "ES256", "RS256", 1), claims), verify.Unsupported},
		{"an alg that is a list", signHeader(t, strings.Replace(header(""), `"ES256"`, `["ES256"]`, 1), claims), verify.Malformed},
		{"crit", signHeader(t, header(`,"crit":["exp"],"exp":1`), claims), verify.Unsupported},
		{"an empty crit", signHeader(t, header(`,"crit":[]`), claims), verify.Unsupported},
		{"crit that is null", signHeader(t, header(`,"crit":null`), claims), verify.Unsupported},
		{"b64 false", signHeader(t, header(`,"b64":false`), claims), verify.Unsupported},
		{"zip", signHeader(t, header(`,"zip":"DEF"`), claims), verify.Unsupported},
		{"enc", signHeader(t, header(`,"enc":"A256GCM"`), claims), verify.Unsupported},
		{"another typ", signHeader(t, strings.Replace(header(""), "at+jwt", "JWT", 1), claims), verify.WrongType},
		{"no typ", signHeader(t, strings.Replace(header(""), `,"typ":"at+jwt"`, "", 1), claims), verify.WrongType},
		{"a typ that is a number", signHeader(t, strings.Replace(header(""), `"at+jwt"`, "1", 1), claims), verify.Malformed},
		{"a header member that is there twice", signHeader(t, header(`,"alg":"ES256"`), claims), verify.Malformed},
		{"a header member in another case", signHeader(t, header(`,"ALG":"none"`), claims), verify.Malformed},
		{"a header that is a list", signHeader(t, `["ES256"]`, claims), verify.Malformed},
		{"a header that is not UTF-8", signHeader(t, header(",\"x\":\"\xff\""), claims), verify.Malformed},
		{"a header with half a surrogate pair", signHeader(t, header(`,"x":"\ud800"`), claims), verify.Malformed},
		{"a header nested deeply", signHeader(t, header(`,"x":`+strings.Repeat("[", 4000)+strings.Repeat("]", 4000)), claims), verify.Malformed},
		{"something behind the header", signHeader(t, header("")+"{}", claims), verify.Malformed},
		{"no kid where there are two keys", signHeader(t, `{"alg":"ES256","typ":"at+jwt"}`, claims), verify.UnknownKey},
		{"a kid with a path", signHeader(t, strings.Replace(header(""), key.ID(), "../../dev/null", 1), claims), verify.UnknownKey},
		{"a kid with SQL", signHeader(t, strings.Replace(header(""), key.ID(), "' OR 1=1 --", 1), claims), verify.UnknownKey},
		{"a kid of 10 kB", signHeader(t, strings.Replace(header(""), key.ID(), strings.Repeat("k", 10_000), 1), claims), verify.UnknownKey},
		{"a kid that is a number", signHeader(t, strings.Replace(header(""), `"`+key.ID()+`"`, "1", 1), claims), verify.Malformed},

		{"a claim that is there twice", signText(claims[:len(claims)-1] + `,"sub":"root"}`), verify.Malformed},
		{"a claim that is there twice by way of an escape", signText(claims[:len(claims)-1] + `,"s\u0075b":"root"}`), verify.Malformed},
		{"something behind the claims", signText(claims + `{"sub":"root"}`), verify.Malformed},
		{"claims that are a list", signText("[" + claims + "]"), verify.Malformed},
		{"claims that are not UTF-8", signText(claims[:len(claims)-1] + ",\"x\":\"\xff\"}"), verify.Malformed},
		{"claims nested 9,000 deep", signText(claims[:len(claims)-1] + `,"x":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + "}"), verify.Malformed},
		{"claims that are no JSON", signText("foo"), verify.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := must(verify.New([]verify.Issuer{issuer()})).Verify(tc.token, now)
			wantReason(t, err, tc.want)
		})
	}
}

// respell encodes text, with a space behind it if need be, so that the last character has bits that are no part of any byte, and sets one of them.
func respell(text string) string {
	if len(text)%3 == 0 {
		text += " "
	}
	encoded := base64url.Encode([]byte(text))
	return encoded[:len(encoded)-1] + string(nextBase64(encoded[len(encoded)-1]))
}

// nextBase64 returns a character that differs only in the last two bits, which are no part of a 64-byte signature.
func nextBase64(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

func TestVerifyTakesHeadersThatMeanNothingToIt(t *testing.T) {
	claims := string(must(json.Marshal(good())))
	for _, tc := range []struct{ name, header string }{
		{"white space round the header", " \n" + header("") + "\t"},
		{"typ as a full media type", strings.Replace(header(""), "at+jwt", "application/AT+JWT", 1)},
		{"cty", header(`,"cty":"json"`)},
		{"an unknown member", header(`,"nonce":"abc"`)},
		{"a key of the attacker's", header(`,"jwk":{"kty":"EC"},"jku":"https://evil.example","x5u":"https://evil.example","x5c":["MII"]`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := must(verify.New([]verify.Issuer{issuer()})).Verify(signHeader(t, tc.header, claims), now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyChecksSignatures(t *testing.T) {
	token := sign(good())
	last := strings.LastIndex(token, ".")
	signature := must(base64url.Decode(token[last+1:]))
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	edit := func(change func(r, s []byte)) string {
		changed := append([]byte(nil), signature...)
		change(changed[:32], changed[32:])
		return token[:last+1] + base64url.Encode(changed)
	}
	forged := base64url.Encode([]byte(header(""))) + "." + strings.SplitN(must(other.Sign("at+jwt", must(json.Marshal(good())))), ".", 2)[1]
	confused := strings.Replace(header(""), "ES256", "HS256", 1)
	input := base64url.Encode([]byte(confused)) + "." + base64url.Encode(must(json.Marshal(good())))
	mac := hmac.New(sha256.New, must(set(key).Marshal()))
	mac.Write([]byte(input))

	for _, tc := range []struct {
		name, token string
		want        verify.Reason
	}{
		{"another key's signature", forged, verify.BadSignature},
		{"the signature of other claims", token[:strings.Index(token, ".")+1] + strings.Split(sign(good("sub", "root")), ".")[1] + token[last:], verify.BadSignature},
		{"zeros", edit(func(r, s []byte) { clear(r); clear(s) }), verify.BadSignature},
		{"r zero", edit(func(r, _ []byte) { clear(r) }), verify.BadSignature},
		{"s zero", edit(func(_, s []byte) { clear(s) }), verify.BadSignature},
		{"r as great as the order", edit(func(r, _ []byte) { order.FillBytes(r) }), verify.BadSignature},
		{"s as great as the order", edit(func(_, s []byte) { order.FillBytes(s) }), verify.BadSignature},
		{"r and s in DER", token[:last+1] + base64url.Encode(must(asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]),
		}))), verify.BadSignature},
		{"r and s in another order", edit(func(r, s []byte) {
			swapped := append(slices.Clone(s), r...)
			copy(r, swapped[:32])
			copy(s, swapped[32:])
		}), verify.BadSignature},
		{"a byte too few", token[:last+1] + base64url.Encode(signature[:63]), verify.BadSignature},
		{"a byte too many", token[:last+1] + base64url.Encode(append([]byte{0}, signature...)), verify.BadSignature},
		{"HS256 with the public key for a secret", input + "." + base64url.Encode(mac.Sum(nil)), verify.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := must(verify.New([]verify.Issuer{issuer()})).Verify(tc.token, now)
			wantReason(t, err, tc.want)
		})
	}

	// What no verifier can tell apart has to be known: it is why a token is never an identity.
	twin := edit(func(_, s []byte) { new(big.Int).Sub(order, new(big.Int).SetBytes(s)).FillBytes(s) })
	if _, err := must(verify.New([]verify.Issuer{issuer()})).Verify(twin, now); err != nil {
		t.Errorf("the twin of a signature: got %v, want it taken", err)
	}
}

// TestNobodySignsWithAPublicKey tries what everybody has of a key, in each form that a library may take for a secret.
func TestNobodySignsWithAPublicKey(t *testing.T) {
	for _, k := range []*signing.Key{key, rsa} {
		public := privateKey(k).(crypto.Signer).Public()
		der := must(x509.MarshalPKIXPublicKey(public))
		document := must(set(k).Marshal())
		block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for name, secret := range map[string][]byte{
			"PEM": block, "PEM without its last line feed": block[:len(block)-1], "DER": der, "JWKS": document, "kid": []byte(k.ID()), "nothing": nil,
		} {
			for _, algorithm := range []string{"HS256", "hs256", "ES256", "RS256"} {
				input := base64url.Encode(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"at+jwt"}`, algorithm, k.ID())) + "." + base64url.Encode(must(json.Marshal(good())))
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				if _, err := must(verify.New([]verify.Issuer{issuer()})).Verify(input+"."+base64url.Encode(mac.Sum(nil)), now); err == nil {
					t.Errorf("%s, %s for a secret, alg %s: got it taken", k.Algorithm(), name, algorithm)
				}
			}
		}
	}
}

func TestVerifyKeepsIssuersApart(t *testing.T) {
	second := issuer()
	second.URL, second.Keys, second.Audiences = "https://second.example", set(other), []string{"second"}
	verifier := must(verify.New([]verify.Issuer{issuer(), second}))

	token := must(other.Sign("at+jwt", must(json.Marshal(good("iss", second.URL, "aud", "second")))))
	if _, err := verifier.Verify(token, now); err != nil {
		t.Error(err)
	}
	_, err := verifier.Verify(must(other.Sign("at+jwt", must(json.Marshal(good())))), now)
	wantReason(t, err, verify.UnknownKey)
	_, err = verifier.Verify(must(other.Sign("at+jwt", must(json.Marshal(good("iss", second.URL))))), now)
	wantReason(t, err, verify.WrongAudience)
}

func TestVerifyTakesTheAlgorithmsOfTheIssuerOnly(t *testing.T) {
	narrow := issuer()
	narrow.Algorithms = []string{"RS256"}
	verifier := must(verify.New([]verify.Issuer{narrow}))
	if _, err := verifier.Verify(must(rsa.Sign("at+jwt", must(json.Marshal(good())))), now); err != nil {
		t.Error(err)
	}
	_, err := verifier.Verify(sign(good()), now)
	wantReason(t, err, verify.Unsupported)
}

func TestVerifyRefusesAKeyFromItsEnd(t *testing.T) {
	end := now.Add(30 * time.Second)
	i := issuer()
	i.Keys = must(keyset.NewSet(key.Public(end)))
	verifier := must(verify.New([]verify.Issuer{i}))

	token, err := verifier.Verify(sign(good()), end.Add(-1))
	if err != nil {
		t.Fatal(err)
	}
	if !token.ValidUntil.Equal(end) || !token.KeyNotAfter.Equal(end) {
		t.Errorf("got ValidUntil %v and KeyNotAfter %v, want %v for both", token.ValidUntil, token.KeyNotAfter, end)
	}
	_, err = verifier.Verify(sign(good()), end)
	wantReason(t, err, verify.KeyExpired)
}

func TestValidUntilIsWhenVerifyStartsToRefuse(t *testing.T) {
	verifier := must(verify.New([]verify.Issuer{issuer()}))
	text := sign(good())
	token := must(verifier.Verify(text, now))
	if _, err := verifier.Verify(text, token.ValidUntil.Add(-1)); err != nil {
		t.Errorf("just before: %v", err)
	}
	_, err := verifier.Verify(text, token.ValidUntil)
	wantReason(t, err, verify.Expired)
}

func TestVerifyWithAnOnlyKeyNeedsNoKid(t *testing.T) {
	i := issuer()
	i.Keys = set(key)
	token := signHeader(t, `{"alg":"ES256","typ":"at+jwt"}`, string(must(json.Marshal(good()))))
	if _, err := must(verify.New([]verify.Issuer{i})).Verify(token, now); err != nil {
		t.Error(err)
	}
}

func TestVerifyTakesBothNamesOfEd25519(t *testing.T) {
	names := []string{"EdDSA", "Ed25519"}
	for _, keyName := range names {
		k := must(signing.Generate(keyName, 0))
		published := must(keyset.Parse(must(set(k).Marshal())))
		for _, tokenName := range names {
			input := base64url.Encode(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"at+jwt"}`, tokenName, k.ID())) + "." + base64url.Encode(must(json.Marshal(good())))
			token := input + "." + base64url.Encode(must(privateKey(k).(crypto.Signer).Sign(nil, []byte(input), crypto.Hash(0))))
			for _, policyNames := range [][]string{nil, {"EdDSA"}, {"Ed25519"}} {
				i := issuer()
				i.Keys, i.Algorithms = published, policyNames
				if _, err := must(verify.New([]verify.Issuer{i})).Verify(token, now); err != nil {
					t.Errorf("a token that says %s, by a key made for %s, where %q are taken: %v", tokenName, keyName, policyNames, err)
				}
			}
		}
	}
}

func TestVerifyWithoutIssuersRefusesEverything(t *testing.T) {
	_, err := must(verify.New(nil)).Verify(sign(good()), now)
	wantReason(t, err, verify.UnknownIssuer)
}

func TestRefusalsSayNothingOfTheToken(t *testing.T) {
	const secret = "hunter2"
	for _, token := range []string{
		secret, secret + "." + secret + "." + secret, sign(good("iss", secret)), sign(good("aud", secret)), sign(good(secret, 1, strings.ToUpper(secret), 2)),
		signHeader(t, strings.Replace(header(""), key.ID(), secret, 1), "{}"), signHeader(t, strings.Replace(header(""), "ES256", secret, 1), "{}"),
	} {
		_, err := must(verify.New([]verify.Issuer{issuer()})).Verify(token, now)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want an error that is silent about the token", err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*verify.Issuer)
		want   string
	}{
		{"an issuer without a url", func(i *verify.Issuer) { i.URL = "" }, "issuers[1].url: is missing"},
		{"an issuer twice", func(i *verify.Issuer) { i.URL = issuerURL }, `issuers[1].url: "https://auth.example" appears twice`},
		{"an issuer without audiences", func(i *verify.Issuer) { i.Audiences = nil }, "issuers[1].audiences: is missing: name at least one"},
		{"an empty audience", func(i *verify.Issuer) { i.Audiences = []string{"a", ""} }, "issuers[1].audiences[1]: is empty"},
		{"a negative skew", func(i *verify.Issuer) { i.ClockSkew = -1 }, "issuers[1].clockSkew: must be between 0s and 1m0s"},
		{"a skew above a minute", func(i *verify.Issuer) { i.ClockSkew = time.Minute + 1 }, "issuers[1].clockSkew: must be between 0s and 1m0s"},
		{"an unknown algorithm", func(i *verify.Issuer) { i.Algorithms = []string{"ES256", "none"} }, `issuers[1].algorithms[1]: "none" is not an algorithm for signatures that we take`},
		{"algorithms without a key", func(i *verify.Issuer) { i.Algorithms = []string{"HS256"} }, "issuers[1].algorithms: none of the issuer's keys is for any of them"},
		{"an issuer without keys", func(i *verify.Issuer) { i.Keys = nil }, "issuers[1].keys: is missing"},
		{"everything at once", func(i *verify.Issuer) { *i = verify.Issuer{} }, "issuers[1].url: is missing\nissuers[1].audiences: is missing: name at least one\nissuers[1].keys: is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			second := issuer()
			second.URL = "https://second.example"
			tc.change(&second)
			_, err := verify.New([]verify.Issuer{issuer(), second})
			if err == nil {
				t.Fatal("got no error")
			}
			if diff := cmp.Diff(err.Error(), tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestVerifyTakesKeysThatAreFoundLater(t *testing.T) {
	third := must(signing.Generate("ES256", 0))
	token := func(k *signing.Key) string { return must(k.Sign("at+jwt", must(json.Marshal(good())))) }
	var later atomic.Pointer[keyset.Set]
	i := issuer()
	i.Later = &later
	verifier := must(verify.New([]verify.Issuer{i}))
	i.Keys = nil
	without := must(verify.New([]verify.Issuer{i}))

	for _, step := range []struct {
		name           string
		later          *keyset.Set
		verifier       *verify.Verifier
		token          string
		want           verify.Reason
		wantWithIssuer bool
	}{
		{"an issuer without keys says so", nil, without, token(key), verify.IssuerUnavailable, true},
		{"nobody's tokens are taken from an issuer that is not named", nil, without, sign(good("iss", "https://evil.example")), verify.UnknownIssuer, false},
		{"an unknown key is unknown", nil, verifier, token(other), verify.UnknownKey, true},
		{"a key that is found is taken", set(other), verifier, token(other), "", false},
		{"another is not", set(other), verifier, token(third), verify.UnknownKey, true},
		{"those that were there before are taken", set(other), verifier, token(key), "", false},
		{"a token without a kid does not get what was found", set(other), verifier,
			signHeader(t, `{"alg":"ES256","typ":"at+jwt"}`, string(must(json.Marshal(good())))), verify.UnknownKey, true},
		{"an issuer without keys gets some", set(key), without, token(key), "", false},
		{"and takes no others", set(key), without, token(other), verify.UnknownKey, true},
		{"what is found does not take the place of what was there", must(keyset.NewSet(must(keyset.New(key.ID(), "ES256", &privateKey(other).(*ecdsa.PrivateKey).PublicKey, time.Time{})))),
			verifier, token(key), "", false},
		{"a key that is found ends like any other", must(keyset.NewSet(other.Public(now))), verifier, token(other), verify.KeyExpired, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			later.Store(step.later)
			_, err := step.verifier.Verify(step.token, now)
			if step.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, err, step.want)
			var refusal *verify.Refusal
			if errors.As(err, &refusal); (refusal.Issuer == issuerURL) != step.wantWithIssuer {
				t.Errorf("got issuer %q in the refusal", refusal.Issuer)
			}
		})
	}
}
