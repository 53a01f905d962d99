class DynamoDBStore:
    pass
