package rewarden

import (
	"structs"
	"unsafe"
)

type rawToolCall struct {
	_         structs.HostLayout
	id        text
	name      text
	arguments text
}

func liftToolCall(raw *rawToolCall) ToolCall {
	return ToolCall{ID: raw.id.lift(), Name: raw.name.lift(), Arguments: raw.arguments.lift()}
}

func lowerToolCall(call ToolCall) rawToolCall {
	return rawToolCall{id: lower(call.ID), name: lower(call.Name), arguments: lower(call.Arguments)}
}

type rawMessage struct {
	_             structs.HostLayout
	role          uint8
	content       text
	hasName       uint8
	name          text
	toolCalls     list
	hasToolCallID uint8
	toolCallID    text
}

func liftMessage(raw *rawMessage) Message {
	message := Message{
		Role:      Role(raw.role),
		Content:   raw.content.lift(),
		ToolCalls: liftList(raw.toolCalls, liftToolCall),
	}
	if raw.hasName != 0 {
		message.Name = raw.name.lift()
	}
	if raw.hasToolCallID != 0 {
		message.ToolCallID = raw.toolCallID.lift()
	}
	return message
}

func lowerMessage(message Message) rawMessage {
	return rawMessage{
		role:          uint8(message.Role),
		content:       lower(message.Content),
		hasName:       flag(message.Name != ""),
		name:          lower(message.Name),
		toolCalls:     lowerList(message.ToolCalls, lowerToolCall),
		hasToolCallID: flag(message.ToolCallID != ""),
		toolCallID:    lower(message.ToolCallID),
	}
}

func flag(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}

type rawMetric struct {
	_     structs.HostLayout
	name  text
	value float64
}

func lowerMetric(metric Metric) rawMetric {
	return rawMetric{name: lower(metric.Name), value: metric.Value}
}

type rawFault struct {
	_      structs.HostLayout
	kind   uint8
	reason text
}

func lowerFault(err error) rawFault {
	fault := asFault(err)
	return rawFault{kind: uint8(fault.Kind), reason: lower(fault.Reason)}
}

func liftFault(raw *rawFault) error {
	return &Fault{FaultKind(raw.kind), raw.reason.lift()}
}

// rawResult is `result<_, fault>`.
type rawResult struct {
	_       structs.HostLayout
	isFault uint8
	fault   rawFault
}

// rawListResult is `result<list<_>, fault>` or `result<string, fault>`: the list, or what begins a fault.
type rawListResult struct {
	_       structs.HostLayout
	isFault uint8
	list    list
	_       uint32
}

// err is the host's fault, when it answered with one.
func (raw *rawListResult) err() error {
	if raw.isFault == 0 {
		return nil
	}
	fault := liftFault(&(*rawResult)(unsafe.Pointer(raw)).fault)
	lifted()
	return fault
}
