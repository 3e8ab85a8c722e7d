// SPDX-License-Identifier: Apache-2.0

package fact

// A Step is one thing that loading a module would do, in order.
type Step struct {
	// Module is the id of the module that the step is for.
	Module string `json:"module"`
	// Path is the file that would be loaded; empty when a command runs instead, and for code that
	// is compiled in.
	Path string `json:"path,omitzero"`
	// Builtin is set when nothing need be done, because the code is compiled in.
	Builtin bool `json:"builtin,omitzero"`
	// Command is the command that the system's configuration runs instead of loading a file.
	Command string `json:"command,omitzero"`
	// Params are the parameters that would be passed, as one string in the system's syntax.
	Params string `json:"params,omitzero"`
	// Optional is set when the loading of the others goes on if this step fails.
	Optional bool `json:"optional,omitzero"`
	// Reason says what asks for the step, such as depends or softdep_pre.
	Reason string `json:"reason,omitzero"`
}
