// Package smoke runs the smoke protocol with the built program: as a person
// does, who reads what it prints, writes to the bot when it asks for it, looks at
// its evidence, or has enough and presses Ctrl+C.
package smoke
