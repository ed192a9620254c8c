package verify

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// maxNumericDate is the last second of the year 9999, after which times have no RFC 3339 form.
const maxNumericDate = 253402300799

// claims are what a token says. Reading them with a wrong type is a refusal, reading absent ones is not.
type claims map[string]any

// text returns a claim that is a string, or "" where it is absent.
func (c claims) text(name string) (string, *Refusal) {
	value, present := c[name]
	if !present {
		return "", nil
	}
	text, ok := value.(string)
	if !ok || text == "" {
		return "", refuse(Malformed, name+" is not a string, or empty")
	}
	return text, nil
}

// date returns a claim that is a NumericDate (RFC 7519 section 2), or the zero time where it is absent.
func (c claims) date(name string) (time.Time, *Refusal) {
	value, present := c[name]
	if !present {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, refuse(Malformed, name+" is not a number")
	}
	if seconds, err := strconv.ParseInt(string(number), 10, 64); err == nil && 0 <= seconds && seconds <= maxNumericDate {
		return time.Unix(seconds, 0).UTC(), nil
	}
	seconds, err := strconv.ParseFloat(string(number), 64)
	if err != nil || !(0 <= seconds && seconds <= maxNumericDate) {
		return time.Time{}, refuse(Malformed, name+" is not a time")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

// audience says whether aud, a string or an array of strings, names one of those wanted.
func (c claims) audience(wanted []string) *Refusal {
	found := false
	switch aud := c["aud"].(type) {
	case string:
		found = slices.Contains(wanted, aud)
	case []any:
		for _, item := range aud {
			name, ok := item.(string)
			if !ok {
				return refuse(Malformed, "aud is not a string or an array of strings")
			}
			found = found || slices.Contains(wanted, name)
		}
	case nil:
		if _, present := c["aud"]; !present {
			return refuse(WrongAudience, "aud is missing")
		}
		return refuse(Malformed, "aud is not a string or an array of strings")
	default:
		return refuse(Malformed, "aud is not a string or an array of strings")
	}
	if !found {
		return refuse(WrongAudience, "the token is for somebody else")
	}
	return nil
}
