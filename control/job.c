/* job.c - making jobs and finding those of a message. See job.h. */
#include "control/job.h"

#include "control/ctl.h"

struct ctl_job *job_new(struct ctl *ctl, uint64_t message_id)
{
    struct ctl_job *job = ctl_must(calloc(1, sizeof *job));
    job->ctl = ctl;
    job->message_id = message_id;
    job->lane = JOB_NO_LANE;
    job->next = ctl->jobs;
    if (ctl->jobs) {
        ctl->jobs->previous = job;
    }
    ctl->jobs = job;
    return job;
}

void job_free(struct ctl_job *job)
{
    if (job->previous) {
        job->previous->next = job->next;
    } else {
        job->ctl->jobs = job->next;
    }
    if (job->next) {
        job->next->previous = job->previous;
    }
    free(job);
}

bool job_carries(const struct ctl *ctl, uint64_t message_id, uint32_t index)
{
    const struct message_entry *entry = message_table_find(&ctl->messages, message_id);
    if (!entry || entry->in_flight == 0) {
        return false; /* most messages: nothing to search */
    }
    for (const struct ctl_job *job = ctl->jobs; job; job = job->next) {
        for (uint32_t i = 0; job->message_id == message_id && job->flying && i < job->n; i++) {
            if (job->index[i] == index) {
                return true;
            }
        }
    }
    return false;
}

uint32_t job_draft_add(struct job_draft *draft, const char *text)
{
    uint32_t at = draft->strings_len;
    size_t len = strlen(text) + 1;
    INVARIANT(len <= JOB_STRINGS_MAX - draft->strings_len);
    memcpy(draft->strings + at, text, len);
    draft->strings_len += (uint32_t)len;
    return at;
}

uint32_t job_draft_add_optional(struct job_draft *draft, const char *text)
{
    return text && text[0] ? job_draft_add(draft, text) : CHAN_NO_STRING;
}
