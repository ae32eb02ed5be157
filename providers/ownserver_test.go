package providers_test

import (
	"regexp"
	"testing"

	"berth/providers"
)

func FuzzIsUUID(f *testing.F) {
	for _, s := range []string{
		"11111111-1111-4111-8111-111111111111", "ABCDEF09-abcd-4111-8111-abcdefabcdef",
		"11111111-1111-4111-8111-11111111111", "11111111-1111-4111-8111-1111111111111",
		"11111111-1111-4111-81111111111111111", "g1111111-1111-4111-8111-111111111111", "111111111111-4111-8111-1111-11111111",
		"11111111-1111-4111-8111-11111111111\n", "11111111-1111-4111-8111-1111111111\u00e9", "",
	} {
		f.Add(s)
	}
	form := regexp.MustCompile(`\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\z`)
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := providers.IsUUID(s), form.MatchString(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	})
}
