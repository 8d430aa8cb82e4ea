package rewarden

import (
	"structs"
	"unsafe"
)

// The canonical ABI of the contract, as Go structs: fields in the order and with the alignment that wit/ gives them. The
// host writes arguments into memory it asks for (cabi_realloc) and reads answers where they lie. Both sides' memory is
// Go's heap: nothing is copied but the records themselves.
//
// The collector does not see addresses that are numbers. What only the host knows about is therefore kept in two lists.

// text is a string or a list of anything: where it begins, and how many elements it has.
type text struct {
	_      structs.HostLayout
	at     uint32
	length uint32
}

type list = text

// lent holds the memory that the host has asked for and that is not lifted yet.
var lent []unsafe.Pointer

// answered holds what the host has not read yet.
var answered []unsafe.Pointer

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, newSize uint32) unsafe.Pointer {
	// Words, because no alignment of the contract exceeds theirs; at least one, so that there is an address.
	words := make([]uint64, newSize/8+1)
	fresh := unsafe.Pointer(unsafe.SliceData(words))
	copy(unsafe.Slice((*byte)(fresh), newSize), unsafe.Slice((*byte)(old), oldSize))
	lent = append(lent, fresh)
	return fresh
}

// lifted forgets what was lent: Go's own pointers hold it from here on.
func lifted() {
	clear(lent)
	lent = lent[:0]
}

// read forgets what was answered, when the host is done with it.
func read() {
	clear(answered)
	answered = answered[:0]
}

// address is where the host finds this, until it has read the answer.
func address(pointer unsafe.Pointer) uint32 {
	answered = append(answered, pointer)
	return uint32(uintptr(pointer))
}

func at(address uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(address)) }

func (raw text) lift() string {
	if raw.length == 0 {
		return ""
	}
	return unsafe.String((*byte)(at(raw.at)), raw.length)
}

func lower(text_ string) text {
	return text{at: address(unsafe.Pointer(unsafe.StringData(text_))), length: uint32(len(text_))}
}

// elements is a list's memory as a slice.
func elements[Raw any](raw list) []Raw {
	if raw.length == 0 {
		return nil
	}
	return unsafe.Slice((*Raw)(at(raw.at)), raw.length)
}

func liftList[Raw, T any](raw list, lift func(*Raw) T) []T {
	from := elements[Raw](raw)
	if from == nil {
		return nil
	}
	to := make([]T, len(from))
	for i := range from {
		to[i] = lift(&from[i])
	}
	return to
}

func lowerList[T, Raw any](from []T, lower func(T) Raw) list {
	to := make([]Raw, len(from))
	for i := range from {
		to[i] = lower(from[i])
	}
	return slice(to)
}

// slice is Go's memory as a list.
func slice[Raw any](raw []Raw) list {
	return list{at: address(unsafe.Pointer(unsafe.SliceData(raw))), length: uint32(len(raw))}
}

// answer is the address of a record.
func answer[Raw any](raw Raw) unsafe.Pointer {
	kept := new(Raw)
	*kept = raw
	pointer := unsafe.Pointer(kept)
	answered = append(answered, pointer)
	return pointer
}
