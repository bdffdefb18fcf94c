package agent

import (
	"errors"
	"fmt"
)

// What a host says is kept by the controller, which has other hosts to look
// after. An agent is bounded in what it can have it keep; one that says more is an
// error of that host. A report of 37,298 real servers, each of which is to be
// added, takes a seventh of the first and less than a third of the second.
const (
	// maxAnswer bounds what has come of answers and is not decoded yet, in bytes.
	maxAnswer = 128 << 20
	// maxWeight bounds what an answer takes when it is decoded, in bytes.
	maxWeight = 640 << 20
	// maxDepth is how deep values lie in each other in an answer. A change's
	// own lie a dozen deep; an error's causes may be some more.
	maxDepth = 64
	// maxNonce is how long a guard's nonce may be; it makes 26 bytes.
	maxNonce = 128
	// valueWeight is more than the largest value that a list of an answer holds,
	// or that a pointer leads to: two bytes of JSON can make as much.
	valueWeight = 400
)

var errHeavy = errors.New("it would take more memory than a host is given")

// decodeAnswer decodes what a host says, within bounds.
func decodeAnswer(frame []byte, res *response) error {
	if _, err := weigh(frame); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return decode(frame, res)
}

// weigh tells what a frame would take when it is decoded, in bytes and rather
// more than less: its text, and a value for each element of a list and for each
// object. It is about JSON; what is none is left to the decoder.
func weigh(frame []byte) (int, error) {
	weight := len(frame)
	var lists [maxDepth]bool // of what is open, which is a list
	depth := 0
	for i := 0; i < len(frame); i++ {
		switch frame[i] {
		case '"':
			for i++; i < len(frame) && frame[i] != '"'; i++ {
				if frame[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth == maxDepth {
				return weight, fmt.Errorf("its values lie more than %d deep in each other", maxDepth)
			}
			lists[depth] = frame[i] == '['
			depth++
			weight += valueWeight // the object, or the first element
		case '}', ']':
			if depth == 0 {
				return weight, nil
			}
			depth--
		case ',':
			if depth > 0 && lists[depth-1] {
				weight += valueWeight
			}
		}
		if weight > maxWeight {
			return weight, errHeavy
		}
	}
	return weight, nil
}
