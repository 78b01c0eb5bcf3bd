"""`python -m klaviyo_jobs` is the command `klaviyo-jobs`."""

from klaviyo_jobs.cli.app import main

if __name__ == "__main__":
    main()
