package agent

// Found is what Begin has found, for a test that wants to see all of it.
func (e *Engine) Found() Report {
	if e.tx == nil {
		return Report{}
	}
	return e.tx.report
}
