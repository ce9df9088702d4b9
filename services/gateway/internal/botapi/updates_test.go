package botapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestGetUpdatesResults(t *testing.T) {
	for _, tt := range []struct {
		name, result string
		ids          []int64
		malformed    int
		fails        bool
	}{
		{"none", `[]`, nil, 0, false},
		{"in the server's order", `[{"update_id":5,"message":{}},{"update_id":3},{"update_id":4}]`, []int64{5, 3, 4}, 0, false},
		{"unknown content is kept", `[{"update_id":1,"business":{"x":[1e999]}}]`, []int64{1}, 0, false},
		{"a broken one does not lose the others", `[{"update_id":1},{"message":{}},{"update_id":3}]`, []int64{1, 3}, 1, false},
		{"every form of broken", `[1,null,"x",[],{"update_id":null},{"update_id":"7"},{"update_id":7.5},{"update_id":-7},{"update_id":1e30},{"update_id":9007199254740991},{"update_id":8}]`, []int64{8}, 10, false},
		{"nothing but broken ones", `[{"message":{}}]`, nil, 1, true},
		{"an object", `{"update_id":1}`, nil, 0, true},
		{"null", `null`, nil, 0, true},
		{"true", `true`, nil, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			malformed := 0
			c := serve(t, answer(`{"ok":true,"result":`+tt.result+`}`), func(o *Options) {
				o.OnMalformedUpdates = func(count int) { malformed = count }
			})
			updates, err := c.GetUpdates(t.Context(), GetUpdates{})
			if tt.fails {
				check(t, err, Error{Operation: "getUpdates", Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true})
			} else if err != nil {
				t.Fatal(err)
			}
			if malformed != tt.malformed || len(updates) != len(tt.ids) {
				t.Fatalf("%d malformed, updates %v", malformed, updates)
			}
			for i, u := range updates {
				if u.ID != tt.ids[i] || !json.Valid(u.Raw) || !strings.Contains(tt.result, string(u.Raw)) {
					t.Errorf("update %d is %d %s", i, u.ID, u.Raw)
				}
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"ok":true,"result":[{"update_id":1}]}`, `{"ok":true,"result":{"message_id":1}}`, `{"ok":true}`, `{"ok":false}`, `[]`, ``, `{`, `null`,
		`{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":5,"migrate_to_chat_id":-1}}`,
		`{"ok":false,"error_code":"x","description":[],"parameters":7}`, `<html>`, `{"OK":true,"RESULT":null}`, `{"ok":false,"error_code":-1}`,
	} {
		f.Add(200, "", body)
		f.Add(502, "5", body)
		f.Add(429, "Wed, 21 Oct 2099 07:28:00 GMT", body)
	}
	f.Fuzz(func(t *testing.T, status int, retryAfter, body string) {
		now := time.Unix(1_800_000_000, 0)
		result, e := decode(status, http.Header{"Retry-After": {retryAfter}}, []byte(body), now)
		if (result == nil) == (e == nil) {
			t.Fatalf("result %s and error %v", result, e)
		}
		if e != nil {
			if e.Kind == "" || e.Retry == "" || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
				t.Errorf("%+v", e)
			}
			if e.Code >= 500 != e.InDoubt && e.Kind == KindAPI {
				t.Errorf("in doubt: %+v", e)
			}
			var target *Error
			if !errors.As(error(e), &target) || e.Error() == "" {
				t.Error("no text")
			}
			return
		}
		updates, malformed, ok := parseUpdates(result)
		if ok && malformed > 0 && len(updates) == 0 {
			t.Error("accepted nothing but malformed updates")
		}
		for _, u := range updates {
			if u.ID < 0 || u.ID > maxUpdateID || !json.Valid(u.Raw) {
				t.Errorf("%+v", u)
			}
		}
	})
}
