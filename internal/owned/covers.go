package owned

import "reflect"

// covers reports whether observed has every value of wanted. What the API server defaulted and what others added does not matter, except
// for the number of elements of a list: a list that others lengthened is not covered, which costs a write that changes nothing. Nor is a
// zero value covered by an absent one: do not render false where the API leaves it out.
func covers(observed, wanted any) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		observed, ok := observed.(map[string]any)
		if !ok {
			return len(wanted) == 0
		}
		for key, value := range wanted {
			if !covers(observed[key], value) {
				return false
			}
		}
		return true
	case []any:
		observed, ok := observed.([]any)
		if !ok || len(observed) != len(wanted) {
			return len(wanted) == 0 && !ok
		}
		for i := range wanted {
			if !covers(observed[i], wanted[i]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(observed, wanted)
	}
}
