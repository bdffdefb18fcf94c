package ledger

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A ledger outlives the build that wrote it. Fields are added without a new
// version; a build that does not know one keeps it as it is, so that the next
// one that does finds it again.

// unknown are the fields of a JSON object that the type of v, a struct, has no
// place for.
func unknown(text []byte, v any) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(all, name)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// with encodes v, a struct, with the fields that it has no place for behind its
// own.
func with(v any, rest map[string]json.RawMessage) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil || len(rest) == 0 {
		return text, err
	}
	b := bytes.NewBuffer(bytes.TrimSuffix(text, []byte("}")))
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(rest[name])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// The types that follow are those of the document without their methods.
type (
	plainLedger  Ledger
	plainStep    Step
	plainRecord  Record
	plainFile    File
	plainService Service
)

// UnmarshalJSON keeps what it does not know.
func (l *Ledger) UnmarshalJSON(text []byte) (err error) {
	if err = json.Unmarshal(text, (*plainLedger)(l)); err == nil {
		l.rest, err = unknown(text, *l)
	}
	return err
}

// MarshalJSON gives what was kept too.
func (l Ledger) MarshalJSON() ([]byte, error) { return with(plainLedger(l), l.rest) }

// UnmarshalJSON keeps what it does not know.
func (s *Step) UnmarshalJSON(text []byte) (err error) {
	if err = json.Unmarshal(text, (*plainStep)(s)); err == nil {
		s.rest, err = unknown(text, *s)
	}
	return err
}

// MarshalJSON gives what was kept too.
func (s Step) MarshalJSON() ([]byte, error) { return with(plainStep(s), s.rest) }

// UnmarshalJSON keeps what it does not know.
func (r *Record) UnmarshalJSON(text []byte) (err error) {
	if err = json.Unmarshal(text, (*plainRecord)(r)); err == nil {
		r.rest, err = unknown(text, *r)
	}
	return err
}

// MarshalJSON gives what was kept too.
func (r Record) MarshalJSON() ([]byte, error) { return with(plainRecord(r), r.rest) }

// UnmarshalJSON keeps what it does not know.
func (f *File) UnmarshalJSON(text []byte) (err error) {
	if err = json.Unmarshal(text, (*plainFile)(f)); err == nil {
		f.rest, err = unknown(text, *f)
	}
	return err
}

// MarshalJSON gives what was kept too.
func (f File) MarshalJSON() ([]byte, error) { return with(plainFile(f), f.rest) }

// UnmarshalJSON keeps what it does not know.
func (s *Service) UnmarshalJSON(text []byte) (err error) {
	if err = json.Unmarshal(text, (*plainService)(s)); err == nil {
		s.rest, err = unknown(text, *s)
	}
	return err
}

// MarshalJSON gives what was kept too.
func (s Service) MarshalJSON() ([]byte, error) { return with(plainService(s), s.rest) }
